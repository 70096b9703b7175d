"""From whole sounds to streams: folding in closed form, and teaching causal students."""
