"""Amounts of money: exact, bounded, in a currency of ISO 4217."""

from decimal import Decimal

from domain.kernel import Invalid

# The currencies of ISO 4217 in use, and those it withdrew in this century: old business still counts in them.
_CODES = (
    "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW "
    "CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG "
    "HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK "
    "MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR "
    "SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW "
    "UZS VED VES VND VUV WST XAF XCD XCG XOF XPF XSU XUA YER ZAR ZMW ZWG ANG ATS AZM BEF BGL BYB BYR CSD CUC CYP DEM EEK ESP "
    "FIM FRF GHC GRD GWP HRK IEP ITL LTL LUF LVL MGF MRO MTL MZM NLG PTE ROL RUR SDD SIT SKK SLL SRG STD TMM TPE TRL VEB VEF "
    "XEU YUM ZMK ZWD ZWL "
)
CURRENCIES = frozenset(_CODES.split())

LARGEST = Decimal(10) ** 15
MOST_PLACES = 24


class UnknownCurrency(Invalid):
    """The currency is no code of ISO 4217. Use three capital letters such as EUR."""


class AmountNeedsCurrency(Invalid):
    """An amount and a currency go together. Give both, or neither."""


class AmountOutOfRange(Invalid):
    """An amount is at least 0, less than 10 to the power of 15, and has at most 24 decimal places."""


def amount_of(value: Decimal) -> Decimal:
    """The amount written out: no exponent, no sign of zero."""
    if not value.is_finite() or not 0 <= value < LARGEST:
        raise AmountOutOfRange
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -MOST_PLACES:
        raise AmountOutOfRange
    plain = Decimal(format(value, "f"))
    return abs(plain)


def money_of(amount: Decimal | None, currency: str | None) -> tuple[Decimal | None, str | None]:
    """Both, checked, or neither."""
    if (amount is None) != (currency is None):
        raise AmountNeedsCurrency
    if amount is None or currency is None:
        return None, None
    if currency not in CURRENCIES:
        raise UnknownCurrency(currency=currency)
    return amount_of(amount), currency
