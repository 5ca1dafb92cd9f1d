"""The word lists that fill the slots of embedded references, and the sentences that say nothing.

Entities are told apart by names that stand in no other list, so that a copied word belongs to one slot.
"""

from collections.abc import Mapping

from marl_bench_tasks.words import words

FIRST_NAMES = words("Ada Bruno Clara Dora Edgar Flora Gustav Hilda Ivan Judith Karl Lydia")
LAST_NAMES = words("Moss Berg Vance Holt Stone Reed Falk Lang Winter Hart Quinn Marsh Dahl Fox")
STRUCTURE_NAMES = words(
    "Corwin Tessin Albury Denholm Elgar Fenwick Garland Hadley Ingram Jasper Kelso Lowell Marden Norwood Oakley Percy"
)
STRUCTURE_TYPES = words("Bridge Tower Chapel Castle Library Theater Museum Palace")
TOWNS = words(
    "Halden Orsa Bremfeld Casterly Dunmore Esker Farrow Gelting Hollin Istad Jorvik Kirkby Lindau Mossley Nerva Ostrand"
)
RIVERS = words("Arno Boyne Clyde Drava Ebro Forth Ister Kama Loire Mosel Neva Oder")
YEARS = words("1702 1715 1728 1733 1746 1759 1764 1771 1787 1790 1806 1813 1824 1835 1848 1852")
MATERIALS = words("granite marble brick oak slate iron glass sandstone concrete copper")
STEPS = words("110 120 140 160 180 210 230 250 270 290 310 330")
OWNERS = ("the crown", "the bank", "the church", "the university", "the army", "the railway", "the state", "the mayor")
SUBJECTS = words("geometry physics painting law medicine history botany music logic chemistry")
INSTRUMENTS = (
    "the flute",
    "the violin",
    "the harp",
    "the cello",
    "the trumpet",
    "the organ",
    "the drums",
    "the guitar",
)
PRODUCTS = words("cheese paper salt honey wool clocks pottery wine boats cider leather candles")

SLOT_WORDS: Mapping[str, tuple[str, ...]] = {
    "town": TOWNS,
    "river": RIVERS,
    "year": YEARS,
    "material": MATERIALS,
    "steps": STEPS,
    "owner": OWNERS,
    "subject": SUBJECTS,
    "instrument": INSTRUMENTS,
    "product": PRODUCTS,
}

IDLE_SENTENCES = (
    "There are many opinions about this.",
    "I am not sure about the rest of it.",
    "Many people ask about this.",
    "I hope that this is of some help.",
    "More of it can be found in old books.",
    "I would ask the people who work there.",
    "It is a good question to ask.",
    "There is more to say about it.",
    "Some people do not like this answer.",
    "I would like to find more of it.",
)
