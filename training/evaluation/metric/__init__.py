"""S2 as Tanaka 2021 evaluates it."""
