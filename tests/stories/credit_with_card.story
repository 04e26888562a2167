# Free credit that comes with the first card: once for each card, once for each mailbox.
# A1

policy sign-up yes
policy credit 2.00
policy credit-rule with_card
at 2026-03-01 09:00
prices tiny in 0.20 out 0.80

# Nothing at sign-up; with the first card, once.
sign-up   ada ada@example.net            -> CREDIT_DEPLETED, credit 0.00, flags none
card      ada visa@ada                   -> UNSUSPENDED, credit 2.00, grants 2.00, historical 0.00
card      ada amex@ada                   -> credit 2.00
uncard    ada                            -> credit 2.00

# The same card elsewhere is taken, without the credit; a person may give it.
sign-up   bob bob@example.net
card      bob amex@ada                   -> UNSUSPENDED, credit 0.00, flags SHARED_CARD
card      bob visa@bob                   -> credit 0.00, flags SHARED_CARD
clear     bob                            -> credit 2.00, flags none
sign-up   cyd cyd@example.net
card      cyd visa@ada                   -> credit 0.00, flags SHARED_CARD
clear     cyd no-credit                  -> credit 0.00, flags none
card      cyd visa@cyd                   -> credit 0.00, flags none

# A mailbox has it once, and what the operator names is given at once.
sign-up   ada-2 ada+2@example.net
card      ada-2 visa@more                -> credit 0.00, flags none
open      dan credit 5.00                -> credit 5.00
card      dan visa@dan                   -> credit 5.00
open      eve                            -> credit 0.00
card      eve visa                       -> credit 2.00

# The test provider's own tokens are anybody's.
open      fay
card      fay visa                       -> credit 2.00, flags none
