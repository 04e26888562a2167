# An account changes how it pays: credit, limit and causes follow at once, invoices by whole months.
# A2 A5 A7 A8 A9 L3, S26 S37

at 2026-03-01 09:00

# From a bill at the month's end to credit first: what was used on account is owed, and invoiced with its month.
open      ada
card      ada visa
spend     ada 3.00                       -> UNSUSPENDED, owes 2.00, limit 50.00
mode      ada prepaid                    -> mode prepaid, CREDIT_DEPLETED, owes 2.00, limit none
spend     ada 0.01                       -> refused 412 "is suspended", unchanged
buy       ada 5.00                       -> UNSUSPENDED, credit 3.00, owes 0.00
  -> allocated 2.00 to 2026-03, allocated 3.00 to credit
spend     ada 1.00                       -> credit 2.00

# The same, and the card pays at the month's end what was owed.
open      bob
card      bob visa
spend     bob 3.00
mode      bob prepaid                    -> CREDIT_DEPLETED, owes 2.00

# A contract knows neither limit nor suspension; what was used before and after is one invoice, on its terms.
open      acme credit 0
card      acme visa
spend     acme 50.00                     -> MONTHLY_SPEND_LIMIT_EXCEEDED, owes 50.00
mode      acme contract                  -> UNSUSPENDED, limit none
spend     acme 950.00                    -> UNSUSPENDED, owes 1000.00

# From credit first to a bill, at the turn of the month and not before.
open      cyd mode prepaid credit 5.00
card      cyd visa
mode      cyd postpaid from 2026-04-01   -> mode prepaid
spend     cyd 5.00                       -> CREDIT_DEPLETED

# The last word counts, also that nothing is to change.
open      dan mode prepaid credit 5.00
mode      dan contract from 2026-03-20
mode      dan postpaid from 2026-03-25
mode      dan prepaid                    -> mode prepaid
mode      dan nothing                    -> refused 400 "billingMode must be one of", unchanged
mode      dan contract from 2026-02-01   -> refused 400 "has passed", unchanged

month     2026-03
show      ada                            -> invoice 2.00 PAID, subtotal 4.00, credits-applied 2.00, payments-applied 2.00
show      bob                            -> invoice 2.00 PAID, due 2.00, paid 2.00, CREDIT_DEPLETED, owes 0.00
show      acme                           -> invoice 1000.00 ISSUED, type CONTRACTED
show      cyd                            -> no invoice, mode postpaid, UNSUSPENDED, limit 50.00
show      dan                            -> no invoice, mode prepaid

spend     ada 1.00                       -> credit 1.00
spend     cyd 7.00                       -> UNSUSPENDED, owes 7.00
month     2026-04
show      ada 2026-04                    -> no invoice
show      cyd                            -> invoice 7.00 PAID, type POSTPAID_BILLING

# Back to terms of an invoice in the midst of a month that began with credit.
mode      ada contract                   -> mode contract
spend     ada 4.00                       -> owes 3.00, UNSUSPENDED
mode      ada prepaid                    -> CREDIT_DEPLETED
month     2026-05
show      ada                            -> invoice 3.00 ISSUED, type CONTRACTED, credits-applied 1.00
month     2026-06
show      ada 2026-06                    -> no invoice
