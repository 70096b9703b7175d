"""How good is the resynth way out?"""
