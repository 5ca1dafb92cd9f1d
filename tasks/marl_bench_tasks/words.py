"""Words that several embedded tasks use."""


def words(text: str) -> tuple[str, ...]:
    """Returns the words of a text."""
    return tuple(text.split())


NAMES = words(
    "Tara Milo Greta Hugo Nina Boris Clara Felix Paula Simon Ruth Victor Wanda Jonas Lena Martin Sofia Derek "
    "Bella Kevin Molly Oscar Petra Rufus"
)
RELATIONS = words("cousin roommate friend neighbor coworker landlord partner classmate tenant teammate")
DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = words("January February March April May June July August September October November December")
SMALL_NUMBERS = words("two three four five six seven eight nine ten twelve")
