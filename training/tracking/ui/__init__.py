"""The local pages of runs and studies, and the guard before them."""
