"""What Lightning trains: one task per system; its losses, its optimiser, its logs."""
