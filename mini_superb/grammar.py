"""Sentences from small grammars, and the grammar that the unlabelled speech is made of."""

import numpy as np

Grammar = dict[str, list[str]]


def words(text: str) -> list[str]:
    """The words of ``text``: a list that is easy on the eye."""
    return text.split()


def phrases(text: str) -> list[str]:
    """The phrases of ``text``, which has a bar between two."""
    return [" ".join(phrase.split()) for phrase in text.split("|")]


def sentence(grammar: Grammar, rng: np.random.Generator, start: str = "S") -> str:
    """Expand ``start``: every word that is a key of the grammar becomes one of its choices."""
    said = []
    for word in str(rng.choice(grammar[start])).split():
        said.append(sentence(grammar, rng, word) if word in grammar else word)
    return " ".join(said)


def vocabulary(grammar: Grammar) -> list[str]:
    """All words the grammar can say, sorted."""
    known = {word for choices in grammar.values() for choice in choices for word in choice.split()}
    return sorted(known - grammar.keys())


EVERYDAY: Grammar = {
    "S": phrases("""
        THING DID PLACE | WHO DID_IT THING | WHO DID_IT THING PLACE | WHO SAID THING IS QUALITY |
        COMMAND | COMMAND and COMMAND | HOW WHO DID_IT THING | WHO will GO_SOMEWHERE TIME |
        THING is QUALITY but THING is QUALITY | there are NUMBER NOUNS PLACE |
        NUMBER NOUNS DID PLACE | ANSWER WHO DID_IT THING TIME | WHEN WHO DID_IT THING |
        why is THING so QUALITY
    """),
    "THING": phrases("""
        the NOUN | the QUALITY NOUN | that QUALITY NOUN | our NOUN | his NOUN | her QUALITY NOUN
    """),
    "WHO": phrases("WHO_ALONE | WHO_ALONE | the PERSON | my PERSON | the QUALITY PERSON"),
    "WHO_ALONE": words("""
        we they you he she everybody nobody peter anna george sarah michael julia thomas sheila
        marvin oliver emma
    """),
    "PERSON": words("""
        mother father brother sister teacher doctor farmer captain driver painter neighbour child
        girl boy lady soldier baker judge student singer fisherman
    """),
    "NOUN": words("""
        house garden river boat table window door kitchen letter picture bottle coat hat shoe horse
        dog cat bird fish mouse cheese bread apple orange soup coffee sugar water milk paper pencil
        book newspaper chair lamp clock bridge road village city church school station train bus
        bicycle engine machine hammer nail rope knife spoon plate basket box bag key coin jewel
        treasure storm cloud mountain valley forest tree flower leaf stone beach island ocean ship
        voice song story question answer measure decision vision television garage toy noise oil
        thumb path cloth leather feather weather joke yard onion music museum zebra lizard rose
    """),
    "NOUNS": words("""
        houses boats letters windows apples oranges bottles horses birds children women teachers
        bridges churches boxes roses stories questions machines trees stones ships keys coins mice
        feathers leaves wolves
    """),
    "QUALITY": words("""
        big small old new young green yellow red blue white black happy sad quiet loud strange good
        bad cold warm heavy light empty full beautiful broken cheap rich narrow wide long short
        sharp smooth sweet bitter dry wet fresh thick thin lazy famous ordinary unusual royal dirty
        clean pleasant usual gentle
    """),
    "DID": words("""
        fell broke stood appeared vanished burned moved waited stopped slept opened turned
        disappeared arrived lay
    """),
    "DID_IT": words("""
        found saw bought sold painted watched carried followed heard touched loved enjoyed reached
        pulled pushed cleaned forgot remembered opened closed measured wanted needed described
        noticed chose threw caught shook brought taught judged finished repaired
    """),
    "SAID": words("thinks says knows hopes believes heard wrote"),
    "IS": phrases("is | was | will be"),
    "PLACE": phrases("""
        PREPOSITION the NOUN | PREPOSITION the QUALITY NOUN | in the NOUN | on the NOUN
    """),
    "PREPOSITION": words("behind near beside under above through between around across inside"),
    "COMMAND": phrases("""
        go DIRECTION at the NOUN | turn SWITCH the NOUN | stop PREPOSITION the NOUN |
        bring me THING | put THING PREPOSITION the NOUN | look DIRECTION | show us NUMBER NOUNS
    """),
    "DIRECTION": words("left right up down back"),
    "SWITCH": words("on off over around"),
    "HOW": words("slowly quickly suddenly quietly perhaps certainly usually finally"),
    "WHEN": phrases("yesterday | this morning | last summer | on DAY | in the evening | long ago"),
    "TIME": phrases("today | tomorrow | at NUMBER o'clock | on DAY | next year | again"),
    "DAY": words("monday tuesday wednesday thursday friday saturday sunday"),
    "NUMBER": words("two three four five six seven eight nine ten eleven twelve twenty thirty"),
    "ANSWER": words("yes no well oh sorry wow"),
    "GO_SOMEWHERE": phrases("""
        go to the NOUN | stay PLACE | travel to the QUALITY NOUN | leave the NOUN
    """),
}
