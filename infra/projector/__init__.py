"""The projections at work: the record in, the rows of every view out."""
