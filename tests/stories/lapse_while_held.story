# Credit that a running request holds lapses, as far as it is still unused, when the request ends.
# A3 H1

at 2026-03-09 12:00
prices dear in 0 out 1000 most 100000    # a tenth of a cent per output token

# The only credit: the request keeps its ten cents over the expiry.
open      ada credit 0
grant     ada 1.00 expires 2026-03-10
ask       r1 ada dear bytes 10 max 100   -> held 0.10
at        2026-03-10                     -> UNSUSPENDED
show      ada                            -> credit 0.10, breakage 0.90, headroom 0.00
ask       r2 ada dear bytes 10 max 100   -> refused 402 "Not enough credit"
done      r1 in 10 out 60                -> charged 0.06, credit 0.00, breakage 0.94, CREDIT_DEPLETED, owes 0.00

# Beside credit that stays: what the request holds is of the grant that burns first, so it is not lost.
open      bob credit 0
grant     bob 5.00 purchased
grant     bob 1.00 expires 2026-03-11    -> grants 1.00 5.00
ask       r1 bob dear bytes 10 max 100   -> held 0.10
at        2026-03-11
show      bob                            -> grants 0.10 5.00, breakage 0.90
done      r1 in 10 out 60                -> charged 0.06, grants 5.00, breakage 0.94

# A request that fails uses nothing.
open      cyd credit 0
grant     cyd 1.00 expires 2026-03-12
ask       r1 cyd dear bytes 10 max 100
at        2026-03-12
void      r1                             -> credit 0.00, breakage 1.00, CREDIT_DEPLETED
