"""Names that nobody bears, towns that are on no map, and numbers that no telephone answers."""

from random import Random

GIVEN = """
    Ambrose Araminta Barnaby Beatrix Caspian Cordelia Crispin Delphine Digby Drusilla Ebenezer Eglantine Evander Fenella
    Ferdinand Florizel Gideon Griselda Hesper Horatio Ianthe Isambard Jemima Jolyon Kerenza Lancelot Lavinia Leopold
    Marigold Mortimer Nathaniel Nerissa Octavia Orlando Ottoline Peregrine Philippa Quentin Rosalind Rupert Sabine
    Septimus Tabitha Thaddeus Ursula Valentine Winifred Zebedee
""".split()  # noqa: SIM905 - quoted one by one they are harder to read
FAMILY = """
    Applethwick Bannerby Bramblecote Butterwaite Candlewick Cobblestow Dandridge-Pole Dovetail Elderbrook Fallowmere
    Featherstoke Figgis-Marl Gillyflower Goosegreen Hartstongue Hazelrigg-Oak Inkpenner Ivywell Jessamine Kettlewright
    Larkmere Lindenbaum-Fry Marchbanks-Lowe Mossop-Tarn Nettlebed-Rowe Oakapple Ottermole Pennywhistle Periwinkle Quillon
    Ravenscar-Holt Rookhope Saltwhistle Silverlock Snowdrop-Hale Tanglewood Thimblerig Thornapple Underhay Velvetine
    Wagtail Willowherb Woodsorrel Yarrowby Zephyrine
""".split()  # noqa: SIM905 - quoted one by one they are harder to read
TOWNS = {
    "Ambermouth": "Saltshire",
    "Larkmere": "Saltshire",
    "Port Quillon": "Saltshire",
    "Wexcombe Magna": "Fenland Riding",
    "Thistlewick": "Fenland Riding",
    "Nether Plumley": "Hollowshire",
    "Candleford Cross": "Hollowshire",
}
STREETS = ("Lantern Row", "Goosefeather Lane", "Old Inkwell Street", "Halfpenny Steps", "Mulberry Parade", "Clocktower Mews")
COMPANIES = (
    "Thistlewick Mills",
    "Amber & Oakum Shipping",
    "Larkmere Lanterns",
    "The Halfpenny Bakehouse",
    "Quillon Paper",
    "Saltshire Sails",
    "Bramblecote Orchards",
    "Fallowmere Tin",
    "Periwinkle Printworks",
    "Thornapple Apothecaries",
    "Kettlewright & Daughters",
    "Goosegreen Farms",
    "Candlewick Theatre Trust",
    "Rookhope Timber",
    "Otter & Mole Estate Agents",
    "Inkpenner Chambers",
    "Underhay Accountants",
    "Silverlock Surveyors",
    "Wagtail Couriers",
    "Dovetail Joinery",
    "Nettlebed Breweries",
    "Woodsorrel Care Homes",
    "Zephyrine Wind Power",
    "Marchbanks Bank of Nowhere",
    "Pennywhistle Toys",
)
INDUSTRIES = (
    "milling",
    "shipping",
    "retail",
    "food",
    "paper",
    "crafts",
    "farming",
    "mining",
    "printing",
    "health",
    "law",
    "property",
)


def person(i: int) -> tuple[str, str]:
    """Given and family name of the i-th person: no two of the first two thousand share both."""
    return GIVEN[i % len(GIVEN)], FAMILY[(i * 7 + i // len(GIVEN)) % len(FAMILY)]


def address(chance: Random) -> dict[str, object]:
    """An address in a town that does not exist; its postal code begins with letters given to no area, its place lies in the sea."""
    town = chance.choice(sorted(TOWNS))
    found: dict[str, object] = {
        "street": [f"{chance.randint(1, 99)} {chance.choice(STREETS)}"],
        "city": town,
        "state": TOWNS[town],
        "postal_code": f"ZZ{chance.randint(1, 9)} {chance.randint(1, 9)}ZZ",
        "country": "GB",
        "label": "home",
        "primary": True,
    }
    if chance.random() < 0.3:
        found |= {"latitude": f"49.{chance.randint(1000, 9999)}", "longitude": f"-9.{chance.randint(1000, 9999)}"}
    return found


def phone(chance: Random) -> dict[str, object]:
    """One of the numbers that Ofcom (020 7946 0xxx, 07700 900xxx) and the NANPA (555 01xx) keep for drama."""
    kind = chance.random()
    if kind < 0.45:
        return {"number": f"020 7946 0{chance.randint(0, 999):03}", "label": "work", "primary": True}
    if kind < 0.9:
        return {"number": f"07700 900{chance.randint(0, 999):03}", "label": "mobile", "primary": True}
    return {"number": f"+1 202-555-01{chance.randint(0, 99):02}", "label": "abroad", "primary": True}
