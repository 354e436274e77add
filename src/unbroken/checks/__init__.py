"""Is the restored run the saved run: one comparison a file, named as a true sentence."""
