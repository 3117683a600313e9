"""How each kind of event is undone, kept by context; `commands.undo` says what holds for all of them."""
