"""What happens once per hop: the model, the edits of its latents, and everything that watches over them."""
