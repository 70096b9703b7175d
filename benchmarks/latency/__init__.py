"""Is the latency what the program says it is?"""
