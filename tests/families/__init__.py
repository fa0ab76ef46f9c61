"""Tiny random models of every causal language model and image-and-text wrapper of transformers."""
