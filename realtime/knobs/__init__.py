"""What can be turned: the targets a bundle offers, their values, and curves over pitch."""
