"""How records that were read from a foreign file become events: one module for each kind of record."""
