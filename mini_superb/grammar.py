"""Sentences from small grammars, and the grammar of everyday English that the unlabelled speech is made of."""

import numpy as np

Grammar = dict[str, list[str]]


def sentence(grammar: Grammar, rng: np.random.Generator, start: str = "S") -> str:
    """Expand ``start``: a word that is a key of the grammar is replaced by one of its choices, again and again."""
    words = []
    for word in str(rng.choice(grammar[start])).split():
        words.append(sentence(grammar, rng, word) if word in grammar else word)
    return " ".join(words)


def vocabulary(grammar: Grammar) -> list[str]:
    """All words the grammar can say, sorted."""
    words = {word for choices in grammar.values() for choice in choices for word in choice.split()}
    return sorted(words - grammar.keys())


EVERYDAY: Grammar = {
    "S": [
        *("THING DID PLACE", "WHO DID_IT THING", "WHO DID_IT THING PLACE", "WHO SAID THING IS QUALITY"),
        *("COMMAND", "COMMAND and COMMAND", "HOW WHO DID_IT THING", "THING is QUALITY but THING is QUALITY"),
        *("there are NUMBER NOUNS PLACE", "NUMBER NOUNS DID PLACE", "ANSWER WHO DID_IT THING TIME"),
        *("WHEN WHO DID_IT THING", "WHO will GO_SOMEWHERE TIME", "why is THING so QUALITY"),
    ],
    "THING": ["the NOUN", "the QUALITY NOUN", "a QUALITY NOUN", "our NOUN", "his NOUN", "her QUALITY NOUN"],
    "WHO": ["WHO_ALONE", "WHO_ALONE", "the PERSON", "my PERSON", "the QUALITY PERSON"],
    "WHO_ALONE": """we they you he she everybody nobody peter anna george sarah michael julia thomas
        sheila marvin oliver emma""".split(),
    "PERSON": """mother father brother sister teacher doctor farmer captain driver painter neighbour child
        girl boy lady soldier baker judge student singer fisherman""".split(),
    "NOUN": """house garden river boat table window door kitchen letter picture bottle coat hat shoe
        horse dog cat bird fish mouse cheese bread apple orange soup coffee sugar water milk paper
        pencil book newspaper chair lamp clock bridge road village city church school station train
        bus bicycle engine machine hammer nail rope knife spoon plate basket box bag key coin jewel
        treasure storm cloud mountain valley forest tree flower leaf stone beach island ocean ship
        voice song story question answer measure decision vision television garage toy noise
        oil thumb path cloth leather feather weather joke yard onion music museum
        zebra lizard rose""".split(),
    "NOUNS": """houses boats letters windows apples oranges bottles horses birds children women teachers
        bridges churches boxes roses stories questions machines trees stones ships keys coins mice
        feathers leaves wolves""".split(),
    "QUALITY": """big small old new young green yellow red blue white black happy sad quiet loud strange
        good bad cold warm heavy light empty full beautiful broken cheap rich narrow wide long short
        sharp smooth sweet bitter dry wet fresh thick thin lazy famous ordinary unusual royal dirty
        clean pleasant usual gentle""".split(),
    "DID": """fell broke stood appeared vanished burned moved waited stopped slept opened turned
        disappeared arrived lay""".split(),
    "DID_IT": """found saw bought sold painted watched carried followed heard touched loved enjoyed
        reached pulled pushed cleaned forgot remembered opened closed measured wanted needed
        described noticed chose threw caught shook brought taught judged finished repaired""".split(),
    "SAID": "thinks says knows hopes believes heard wrote".split(),
    "IS": ["is", "was", "will be"],
    "PLACE": ["PREPOSITION the NOUN", "PREPOSITION the QUALITY NOUN", "in the NOUN", "on the NOUN"],
    "PREPOSITION": "behind near beside under above through between around across inside outside".split(),
    "COMMAND": [
        *("go DIRECTION at the NOUN", "turn SWITCH the NOUN", "stop PREPOSITION the NOUN"),
        *("bring me THING", "put THING PREPOSITION the NOUN", "look DIRECTION", "show us NUMBER NOUNS"),
    ],
    "DIRECTION": "left right up down back".split(),
    "SWITCH": "on off over around".split(),
    "HOW": "slowly quickly suddenly quietly perhaps certainly usually finally".split(),
    "WHEN": ["yesterday", "this morning", "last summer", "on TIME_DAY", "in the evening", "long ago"],
    "TIME": ["today", "tomorrow", "at NUMBER o'clock", "on TIME_DAY", "next year", "again"],
    "TIME_DAY": "monday tuesday wednesday thursday friday saturday sunday".split(),
    "NUMBER": "two three four five six seven eight nine ten eleven twelve twenty thirty".split(),
    "ANSWER": "yes no well oh sorry wow".split(),
    "GO_SOMEWHERE": ["go to the NOUN", "stay PLACE", "travel to the QUALITY NOUN", "leave the NOUN"],
}
