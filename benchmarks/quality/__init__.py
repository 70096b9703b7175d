"""Is the instrument worth playing?"""
