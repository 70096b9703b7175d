"""S3 as Luo 2019 evaluates it."""
