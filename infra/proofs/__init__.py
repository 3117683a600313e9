"""The log of each firm and what can be proved with it: tree, tiles, checkpoints, proofs, witnesses, timestamps."""
