# A grace of days is a setting: the account is suspended only when it is over.
# U6

policy grace-days 3
at 2026-03-01 09:00
open      ada credit 0
card      ada chargeCustomerFail
spend     ada 5.00
month     2026-03                        -> invoice 5.00 FAILED, UNSUSPENDED
at        2026-04-03 23:59               -> UNSUSPENDED
at        2026-04-04                     -> FAILED_PAYMENTS
card      ada visa                       -> UNSUSPENDED, invoice 5.00 PAID
