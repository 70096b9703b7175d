"""Does it play on, as late as never, in the memory it began with?"""
