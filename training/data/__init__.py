"""One file per source of sounds; all write the same manifest, read by one Dataset."""
