"""Signal processing on arrays: transforms, frames, filters, resampling, gains. Knows a bundle's features and nothing
else of the program.
"""
