"""S1 as Tanaka 2022 evaluates it."""
