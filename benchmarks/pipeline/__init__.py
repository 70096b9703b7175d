"""Does the input pipeline keep up with training?"""
