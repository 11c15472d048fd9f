"""How tensors run: models, their adaptation, runtimes and the batcher."""
