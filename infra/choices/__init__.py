"""What a person does about their consent without an account: signed links, pages that work without scripts, mail.

CH1  A link names a contact and what it is for, and is signed: nobody makes one for another person, and nothing personal stands in it.
CH2  A page that is only looked at changes nothing: mail scanners follow links. What changes something is a form that is sent.
CH3  One click unsubscribes: a POST of `List-Unsubscribe=One-Click` (RFC 8058), without a page, a cookie or a question.
CH4  `Sec-GPC: 1` on any page opts out of sale and sharing, and of nothing else.
CH5  A page says what stands, in the person's language, and works without JavaScript; it is never kept by caches nor framed.
"""
