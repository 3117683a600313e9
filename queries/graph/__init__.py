"""The activity graph: who is connected with whom and what, through what, and since when."""
