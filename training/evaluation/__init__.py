"""Each system's evaluation as in its paper: tables with bootstrap intervals, figures, and the paper's claims checked on
our figures.
"""
