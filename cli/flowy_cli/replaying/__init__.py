"""The code of a run once more, over its recorded history."""
