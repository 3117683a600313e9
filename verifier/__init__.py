"""The stand-alone verifier: one file that needs nothing of Chancery but itself."""
