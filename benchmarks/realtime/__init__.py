"""How many milliseconds does a block take?"""
