# What users may spend: their own limit, their group's or everybody's; and asking for more.
# L6, S68 S69 S70 S71 S72

at 2026-03-01 09:00
open          ada
card          ada visa                  -> limit 50.00
user          ada eve                   -> may none
user          ada bob

# A limit for everybody: past it one user alone is refused, and the account goes on.
usage-limit   ada 10.00
user          ada eve                   -> may 10.00
spend         ada 9.99 by eve           -> used 9.99
spend         ada 0.02 by eve           -> refused 402 "what this user may spend in a month", unchanged
spend         ada 0.01 by eve           -> used 10.00, UNSUSPENDED
spend         ada 0.01 by eve           -> refused 402 "Ask for a higher limit", unchanged
spend         ada 3.00 by bob           -> used 3.00, spent 13.00

# She asks for more. Until somebody decides, nothing changes, and she asks once.
want          ada eve 10.00             -> refused 400 "more than the $10.00 a month", wanted none
want          ada eve 15.00             -> wanted 15.00 PENDING, may 10.00
want          ada eve 20.00             -> refused 409 "has asked already", wanted 15.00 PENDING
spend         ada 1.00 by eve           -> refused 402, unchanged
approve       ada eve                   -> wanted 15.00 APPROVED, may 15.00, used 10.00
approve       ada eve                   -> refused 409 "approved already"
reject        ada eve                   -> refused 409 "approved already", may 15.00
spend         ada 5.00 by eve           -> used 15.00
spend         ada 0.01 by eve           -> refused 402
user          ada bob                   -> may 10.00

# Rejected, everything stays; then another amount than was asked for.
want          ada bob 30.00
reject        ada bob                   -> wanted 30.00 REJECTED, may 10.00
want          ada bob 30.00
approve       ada bob 12.50             -> wanted 30.00 APPROVED, may 12.50

# An approval never lowers what is in force by then.
want          ada eve 18.00
usage-limit   ada 25.00 user eve        -> may 25.00
approve       ada eve                   -> refused 400 "more than the $25.00 a month", wanted 18.00 PENDING, may 25.00
approve       ada eve 20.00             -> refused 400, may 25.00
approve       ada eve 26.00             -> wanted 18.00 APPROVED, may 26.00

# S69: a group's limit counts although it is below everybody's; S70: it is each member's own.
usage-limit   ada 4.00 group research
user          ada cyd in research       -> may 4.00
user          ada dan in research       -> may 4.00
spend         ada 4.00 by cyd           -> used 4.00
spend         ada 0.01 by cyd           -> refused 402 "this user's group"
spend         ada 4.00 by dan           -> used 4.00
want          ada cyd 5.00
approve       ada cyd                   -> may 5.00
spend         ada 1.00 by cyd           -> used 5.00
user          ada dan                   -> may 4.00
# S68: her own limit goes before the group's, until it is taken away.
usage-limit   ada none user cyd         -> may 4.00
spend         ada 0.01 by cyd           -> refused 402 "this user's group"

# S72: a limit of nothing blocks.
usage-limit   ada 0.00 user dan
spend         ada 0.01 by dan           -> refused 402
# Nothing to raise where nothing limits.
open          sol
want          sol owner 10.00           -> refused 400 "there is nothing to raise", wanted none

# The account's own limit stands above them all.
usage-limit   ada 100.00 user eve
spend         ada 30.00 by eve          -> refused 402 "monthly spend limit"

# The new month begins anew, under the limits as they are.
month         2026-03
user          ada eve                   -> may 100.00, used 0.00
user          ada cyd                   -> may 4.00
spend         ada 4.00 by cyd           -> used 4.00
spend         ada 0.01 by cyd           -> refused 402
