"""How the sources make a data set: rendering, cutting, labels, checks, work that survives being killed."""
