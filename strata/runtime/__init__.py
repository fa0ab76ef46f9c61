"""What everything runs on: folders, memory, cores, side processes, limits to trying again.

Imports the nouns only. The process that draws UMAP maps is here and not with its concept, since a
process beside the server should not import torch, which every concept does.
"""
