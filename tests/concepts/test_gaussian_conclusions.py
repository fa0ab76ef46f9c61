"""What the Gaussian baseline says: three steps, the whole model, sentences, and the program."""
