"""The main job from end to end, on a phrase that ships."""
