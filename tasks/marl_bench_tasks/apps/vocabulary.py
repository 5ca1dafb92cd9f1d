"""The words of embedded problems: function names, input words, letters."""

NAMES = ("solve", "pick", "compute", "collect", "gather", "answer", "process", "handle", "evaluate", "derive")

WORDS = (
    "apple", "bread", "cabin", "dance", "eagle", "fable", "grape", "house", "ivory", "jelly", "karma", "lemon",
    "mango", "night", "ocean", "piano", "queen", "river", "stone", "table", "uncle", "vivid", "water", "yacht",
    "ant", "bee", "cat", "den", "elm", "fan", "gem", "hat", "ink", "jam", "kit", "log", "map", "net", "oak", "pen",
    "beacon", "candle", "dragon", "engine", "forest", "garden", "hammer", "island", "jacket", "kernel", "ladder",
    "magnet", "needle", "orange", "pencil", "rabbit", "saddle", "tunnel", "window", "bell", "corn", "desk", "fern",
)  # fmt: skip

LETTERS = ("a", "e", "n", "o", "r", "t")
"""Letters that enough of the words hold."""

SEPARATORS = {"dashes": "-", "commas": ",", "stars": "*", "colons": ":"}
