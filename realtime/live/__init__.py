"""Playing live: the control process, the audio process, and the memory they share."""
