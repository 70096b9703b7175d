"""What does every way of streaming a model cost, against the original?"""
