# Credit codes: made by the operator, redeemed once by each account, as many times as they were made for.
# A3

at 2026-03-01 09:00
prices tiny in 0.20 out 0.80
code      spring 5.00 times 2 days 30
code      short 1.00 times 9 expires 2026-03-10

# It is promotional credit, and lifts what was suspended for its lack.
open      ada
spend     ada 1.00                       -> CREDIT_DEPLETED
redeem    ada spring                     -> UNSUSPENDED, credit 5.00, grants 5.00, historical 0.00
redeem    ada spring                     -> refused 409 "redeemed by this account already", unchanged
spend     ada 2.00                       -> credit 3.00

# As many times as it was made for, and what is no code gives nothing.
open      bob credit 0
redeem    bob spring                     -> credit 5.00
open      cyd
redeem    cyd spring                     -> refused 409 "is used up", unchanged
redeem    cyd SPRING-2026                -> refused 404 "not known here", unchanged

# Codes burn down by when the credit lapses: the month's before what lasts.
redeem    cyd short                      -> credit 2.00, grants 1.00 1.00
at        2026-03-10
open      dan
redeem    dan short                      -> refused 409 "expired at 2026-03-10T00:00:00Z", unchanged

# Ended by the operator: what was redeemed stays.
code      late 7.00 times 5
redeem    dan late                       -> credit 8.00
end       late
redeem    cyd late                       -> refused 409 "was ended at 2026-03-10", unchanged
show      dan                            -> credit 8.00

# Thirty days later what is left of it lapses.
at        2026-03-31 09:00
show      ada                            -> credit 0.00, breakage 3.00
show      bob                            -> credit 0.00, breakage 5.00

# A closed account redeems nothing.
leave     cyd                            -> closed yes
redeem    cyd short                      -> refused 409 "was closed", unchanged
