# Money from outside the card pays the oldest invoice first, then the next, then what is not yet billed.
# A7 A11 U6 H7

at 2026-03-01 09:00
open      ada credit 0
card      ada chargeCustomerFail
spend     ada 10.00
month     2026-03                        -> invoice 10.00 FAILED, FAILED_PAYMENTS, owes 10.00
usage     ada 4.00                       -> owes 14.00
month     2026-04                        -> invoice 4.00 FAILED, FAILED_PAYMENTS, number ADA-0002
usage     ada 1.00                       -> owes 15.00

# $12 received: ADA-0001 is paid, ADA-0002 in part, so its cause stays.
grant     ada 12.00 purchased            -> owes 3.00, credit 0.00, FAILED_PAYMENTS, historical 12.00
  -> invoice 4.00 FAILED, paid 2.00, receipt 12.00, allocated 10.00 to ADA-0001, allocated 2.00 to ADA-0002

# $5 more: the rest of ADA-0002, the dollar of May, and two dollars of credit.
grant     ada 5.00 purchased             -> owes 0.00, credit 2.00, UNSUSPENDED, historical 17.00, invoice 4.00 PAID
  -> allocated 2.00 to ADA-0002, allocated 1.00 to 2026-05, allocated 2.00 to credit
month     2026-05                        -> invoice 1.00 PAID, payments-applied 1.00, due 0.00, credit 2.00

# A gift pays nothing that is owed.
open      bob credit 0
card      bob visa
spend     bob 3.00
grant     bob 5.00                       -> owes 3.00, credit 5.00, historical 0.00
month     2026-06                        -> invoice 3.00 PAID, credit 5.00, historical 3.00
