"""The word lists that fill the slots of embedded posts, and their irrelevant sentences.

Words that follow "a" in a pattern begin with a consonant sound, so that every sentence is grammatical.
"""

from marl_bench_tasks.words import DAYS, MONTHS, NAMES, RELATIONS, SMALL_NUMBERS, words

JOBS = words("nurse teacher driver baker lawyer farmer plumber dentist cashier student writer painter barber chef")
CITIES = words(
    "Denver Boston Dallas Miami Chicago Seattle Portland Houston Memphis Phoenix London Paris Berlin Madrid Rome "
    "Dublin Lisbon Prague"
)
AGES = words("19 21 22 23 24 26 27 29 31 33 34 36 38 41 45 47 52")
AMOUNTS = words("150 200 250 300 350 400 450 500 600 700 750 800 900 950")
SALARIES = words("1200 1500 1800 2000 2400 2500 2800 3000 3500 4000")
ITEMS = words("car bike laptop phone camera guitar couch boat piano watch tent fridge")
PLACES = words("bar gym library party concert wedding market museum church bakery")
TOPICS = words("dishes money garden kitchen noise music parking laundry heating cooking")
THINGS = words("window lamp mirror table chair door vase glasses radio printer")
EVENTS = words("holiday storm dinner game picnic barbecue birthday funeral meeting parade")
COMPANIES = words("bank hotel hospital school factory bookstore restaurant newspaper theater brewery")
COLORS = words("black white brown grey red yellow")
ANIMALS = words("cat dog rabbit parrot hamster turtle")
PET_NAMES = words("Biscuit Shadow Pepper Ginger Waffles Bandit Coco Rocky")
CHORES = (
    "clean the bathroom",
    "walk the dog",
    "cook dinner",
    "wash the car",
    "mow the lawn",
    "buy food",
    "water the plants",
    "take out the trash",
    "feed the fish",
    "pay for gas",
)
FINDS = words("letters photos bottles tickets keys coins books knives")
ROOMS = words("closet basement garage attic bedroom drawer shed hallway")
BILLS = words("rent tuition insurance mortgage deposit fine")
BODY_PARTS = words("knee back shoulder wrist ankle hip neck elbow")
SUBJECTS = words("chemistry history physics biology French math music law")
ACTIONS = (
    "call a lawyer",
    "move out",
    "stay quiet",
    "wait until spring",
    "tell the truth",
    "quit the job",
    "ask for help",
    "go to the police",
    "forgive everyone",
    "sell everything",
    "change the locks",
    "write a letter",
    "see a doctor",
    "leave town",
    "borrow more money",
    "talk to the boss",
)
SUBREDDITS = words("relationships personalfinance AskReddit legaladvice jobs college travel pets")

SLOT_WORDS = {
    "name": NAMES,
    "relation": RELATIONS,
    "job": JOBS,
    "city": CITIES,
    "month": MONTHS,
    "day": DAYS,
    "age": AGES,
    "number": SMALL_NUMBERS,
    "amount": AMOUNTS,
    "salary": SALARIES,
    "item": ITEMS,
    "place": PLACES,
    "topic": TOPICS,
    "thing": THINGS,
    "event": EVENTS,
    "company": COMPANIES,
    "color": COLORS,
    "animal": ANIMALS,
    "pet": PET_NAMES,
    "chore": CHORES,
    "finds": FINDS,
    "room": ROOMS,
    "bill": BILLS,
    "part": BODY_PARTS,
    "subject": SUBJECTS,
    "first": ACTIONS,
    "second": ACTIONS,
}

TITLES = (
    "Need advice about my {relation} {name}",
    "Not sure what to do about {name}",
    "Trouble with my {relation}",
    "Is it me or is it {name}?",
    "My {relation} {name} and a hard choice",
    "Please help me decide",
)

DIGRESSIONS = (
    "Sorry for the long post.",
    "It has been raining all week.",
    "I am typing this on my phone.",
    "My coffee is already cold.",
    "English is not my first language.",
    "I had pizza for lunch again.",
    "The bus was late this morning.",
    "I never post here normally.",
    "My favorite show is back on.",
    "I really like this subreddit.",
    "The weather is nice for once.",
    "I slept badly last night.",
    "This is a throwaway account.",
    "Someone is playing loud drums outside.",
    "I should be working right now.",
    "I love a good sandwich.",
    "My team lost the big match.",
    "I am listening to jazz.",
    "There is a sale at the mall.",
    "I saw a funny movie.",
    "I dyed my hair green.",
    "The moon is very bright tonight.",
    "I cannot find my socks.",
    "Thanks for reading so far.",
)
