"""The MuJoCo benchmark: linear policies as a search problem."""
