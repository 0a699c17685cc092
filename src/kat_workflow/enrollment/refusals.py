"""Every reason for which a command is refused, and every deviation that is noted, in words.

`kat explain CODE` prints these paragraphs. A code that is used and not explained here, or
explained and not used, fails a test.
"""

from __future__ import annotations

REFUSALS: dict[str, str] = {
    "absolute-gate": "The gate has no `override:` line, so nobody may pass it. What makes it true "
    "is recording what it asks for; the explanation names it.",
    "already-asked": "An override of the gate was asked for and waits for a second person, who "
    "agrees with `cosign override GATE`.",
    "already-enrolled": "The command's id was used to enroll somebody. A new enrollment needs a "
    "command id of its own.",
    "already-merged": "The id was merged into another patient's. Take them apart first, or merge "
    "the two patients that it stands for.",
    "already-recorded": "The form was recorded and waits for a signature. Sign it (`sign STEP`, "
    "`cosign STEP`).",
    "already-corrected": "The record has a newer version; only the newest can be corrected or "
    "retracted.",
    "already-retracted": "The record was entered in error, so that there is nothing to correct. "
    "What is so is recorded anew.",
    "already-settled": "The step was answered in this visit. What happened in addition is recorded "
    "with a form that may be recorded at any time.",
    "amount-outside": "The program lets this drug be ordered within limits only, in all and as a "
    "bolus.",
    "another-patient": "A patient acts, and reads, in their own enrollment alone.",
    "at-that-site": "The enrollment is at that site.",
    "away": "The patient is on an excursion already. Only its own way back leads on.",
    "bad-phrase": "The phrase is not one of the verbs with a name, such as `start nad_infusion`.",
    "bad-value": "A value is not one that the form can hold, or is outside what is plausible. "
    "Limits of the plausible catch slips; they are not limits of the normal.",
    "cap": "The program allows so many sessions of this kind and no more.",
    "choose-the-way": "The item asks where to go on. Answer it with `go PHASE` or `go END`.",
    "claimed": "Somebody else has taken the item on. That keeps nobody of the role from doing it; "
    "whoever wants it for themselves has it assigned.",
    "credential-expired": "The actor held the role until an instant that has passed. Whoever keeps "
    "the clinic's directory renews it, or somebody else acts.",
    "day-would-fall": "The program day never falls: the patient was admitted earlier than that.",
    "does-not-fit": "Something of the patient has no place in the other version of the program: a "
    "phase, an open step, a session, an order, a field or who may read what. Settle it first, or "
    "let the author of the version keep its name and kind.",
    "dose-cap": "More of the drug would be given than the program allows over that time. What was "
    "given in any program counts, and what orders in force and sessions under way may still give.",
    "below-minimum": "Fewer members have a seat than the program asks for. Whom it names under "
    "`override:` may start the group regardless, with a reason; else call it off.",
    "group-not-started": "The session is held in a group. The patient joins one, and the group is "
    "started, before the member's own session can start.",
    "group-state": "The group is not in a state in which this can happen: it is joined, moved, "
    "called off and started while it is planned.",
    "held-in-group": "What is held in a group is booked by joining one, and for its time; moving "
    "it moves the group.",
    "in-group": "The patient has a seat in a group for this, or waits for one.",
    "not-in-group": "The patient is in no such group.",
    "other-program": "A group takes patients of the program it was planned for.",
    "other-site": "A group takes patients of the site at which it is held.",
    "room-taken": "Another group is in the room, or is planned there at the same time.",
    "staff-short": "Too few persons of a role are present for the members who have a seat. A "
    "person counts once, in one role.",
    "unknown-group": "The journal has no group with that id, or the program no kind of group of "
    "that name.",
    "unknown-room": "The program names the rooms in which such a group is held.",
    "erased": "The patient of this enrollment was erased on a lawful request. Its course can be "
    "read, without the patient, and nothing more is written to it. If they come back, they are "
    "enrolled anew.",
    "no-entry": "The stream has no such entry, or nothing in it that could be erased.",
    "in-treatment": "A patient is erased once treatment is over in every enrollment: what has to "
    "be known to treat them safely is not taken away meanwhile.",
    "still-read": "What a recording says can be taken out of the record once it is retracted: "
    "gates go on reading what they have read.",
    "ground-missing": "An erasure names the lawful ground on which it is done; it tells nothing of "
    "the patient.",
    "future": "It is said to have happened later than now. Two minutes are allowed for clocks that "
    "differ.",
    "gate-closed": "A gate of the session does not hold, or is unknown: what has not been "
    "recorded, or has expired, opens nothing. Every clause is listed with its value, when and by "
    "which step it was recorded, and what would make it true.",
    "held-elsewhere": "A hold that stands in all of a patient's enrollments is lifted where it was "
    "made, while that enrollment goes on.",
    "id-reused": "The command's id was used for another command. An id stands for one command for "
    "ever; that is what makes a retry harmless.",
    "implausible": "The value is outside what the form says is plausible: a slip of the pen, a "
    "wrong unit, or a reading to repeat.",
    "ledger-open": "What was drawn of a controlled drug is not accounted for: drawn = given + "
    "wasted + returned, and another person has witnessed what was wasted.",
    "missing-value": "A field that is required was left out. If it could not be answered, say so "
    "where the form allows it.",
    "monitored-elsewhere": "Another session of the patient, in another enrollment, is under way or "
    "watched. Nothing else is started before its release.",
    "naive-instant": "An instant came without its zone, so that it names no moment.",
    "no-dose": "The program gives nothing in sessions of this kind.",
    "no-ledger": "What is given in the session is no controlled drug, by the program.",
    "no-order": "No order of a prescriber is in force: none was placed, it was used up, it lapsed "
    "(never later than the weight it was worked out with), or it was stopped.",
    "no-patient": "Whom to enroll was not said.",
    "no-session": "No session of this kind is open. Book it, record the arrival, or start it.",
    "no-source": "Whoever attests what was found out elsewhere says where it stands.",
    "no-suggestion": "No evaluation of the patient was handed over to this program that answers "
    "the step: the same form in the same edition, still valid.",
    "no-way": "The way on is chosen by the program's gates; a person chooses only where no row "
    "holds, or sends the patient on an excursion.",
    "not-yet": "The step that holds the session opens later, by its times in the program. Whoever "
    "comes before that may be there, but nothing is booked or started for that time.",
    "not-an-option": "The answer is not one of the field's options.",
    "not-carried": "The step takes a reading of its own time (it recurs, has a clock time or a "
    "day, or stands in rounds or in a session), so that nothing from elsewhere answers it.",
    "not-asked": "The field is asked only after certain answers to another field.",
    "not-assigned": "The item is nobody's in particular, or not the actor's to hand over.",
    "not-authenticated": "Whoever signs shows once more who they are. The host's check did not "
    "confirm it; nothing was signed.",
    "not-done-so": "The step is done by recording its form or holding its session.",
    "name-missing": "A signature has the printed name of whoever signs. Give it.",
    "not-approved": "Only what is approved can be retired. `kat register` lists what is.",
    "not-given": "The consent is not in force, so that it cannot be revoked.",
    "not-in-treatment": "The treatment has ended. A re-admission is a new enrollment.",
    "not-signed-off": "This clinic takes patients only into programs that a medical director has "
    "signed off, and these very files are not (a changed file is a draft again). Sign them off "
    "(`kat sign-off`), or enroll in an approved version.",
    "not-merged": "The two ids are not one patient by a merge, or the survivor was itself merged "
    "into another since, which must be taken apart first.",
    "not-open": "The step is not open: steps before it are not settled, its phase or session is "
    "not active, or its condition does not hold.",
    "not-paused": "Dosing is not paused.",
    "not-ready-to-leave": "The criteria for leaving the session are not met. Minimum time, "
    "criteria and signature must come together.",
    "not-running": "Nothing is being given at the moment.",
    "nothing-corrected": "The correction says what the record says already.",
    "nothing-moved": "A group is moved to another time or another room. Say which.",
    "nothing-to-offer": "There is no finished evaluation to hand over, or the enrollment was made "
    "in error.",
    "nothing-to-record": "The step records no form; it is ticked off with `done STEP`.",
    "nothing-to-sign": "Nothing was recorded that waits for this signature.",
    "on-hold": "A hold masks requests, moves and most new items. Reports go on. Lift the hold "
    "first.",
    "one-sedating-a-day": "The patient has had a sedating session on this date, in whatever "
    "program. There is one a day.",
    "other-form": "The second item records another form, so that one reading cannot answer it.",
    "outcome-not-allowed": "The program does not allow the step to end this way (`may_be`).",
    "past": "A booking, and the review of a hold, lie in the future.",
    "pause-rule": "The rule that paused the dose still holds by the last reading. Record a "
    "new one.",
    "program-loops": "The request would make the program's gates go in a circle. The author of the "
    "program must break it; until then, say where the patient is (`move PHASE`).",
    "raised-too-much": "From one order to the next the program lets a dose be raised by so much. "
    "Lowering it is always possible, down to the least that may be ordered.",
    "rate-outside": "The rate is outside the limits of the program.",
    "reason-missing": "Whoever departs from the plan says why.",
    "role-missing": "The program asks for certain roles to be present at the start. Name them with "
    "the start; the actor's own role counts.",
    "rule": "A safety rule of the program (`never`) forbids the start. Rules cannot be overridden.",
    "same-person": "Two different people must do this. People are compared, not accounts.",
    "same-patient": "The two ids are one patient already.",
    "session-open": "A session of this kind is open. Finish it first.",
    "session-state": "The session is not in a state in which this can happen.",
    "session-under-way": "At most one session is under way per enrollment, and nothing cuts it "
    "short but an end, a stop rule or an abort.",
    "signed-already": "These very files were signed off or retired before. A changed program "
    "gets a new version, and is then signed.",
    "signed-apart": "A reading answers several items at once only where none of the further ones "
    "asks for signatures of its own.",
    "steps-open": "A step that comes first is not settled.",
    "that-version": "The patient goes by this very version.",
    "there-already": "The patient is in that phase.",
    "too-early": "The minimum time since the first dose has not passed.",
    "too-soon": "Two sessions of this kind need more time between them.",
    "unknown-consent": "The program has no consent of that name.",
    "unknown-cover": "The roster of the site has no cover of that id, or it is over.",
    "unknown-end": "The program has no such end, or it is reached by the program's gates alone.",
    "unknown-enrollment": "The journal has no enrollment with that id.",
    "unknown-field": "The form has no field of that name.",
    "unknown-gate": "The program has no gate of that name.",
    "unknown-patient": "The journal has no enrollment of a patient with that id.",
    "unknown-lot": "The site's cupboard has no such lot of the drug.",
    "unknown-medicine": "The program has no medicine of that name.",
    "unknown-order": "The program has no order of that name.",
    "unknown-phase": "The program has no phase of that name in which a patient can be found.",
    "unknown-record": "Nothing was recorded under that id, step or form. `kat history` shows the "
    "ids.",
    "unknown-session": "The program has no session of that name.",
    "unknown-site": "The engine was opened without a site of that name.",
    "unknown-step": "The program has no step, and the enrollment no item, of that name.",
    "unknown-version": "Neither the library nor the journal holds that version of the program.",
    "version-changed": "A version of a program never changes once a patient has been enrolled in "
    "it. Give the changed files a new version.",
    "when-unknown": "What was found out elsewhere is recorded with the instant at which it "
    "happened there.",
    "weight-missing": "A dose per body weight needs a recorded weight: signed where the form asks "
    "for it, and not older than the program says.",
    "which-hold": "Say which hold is to be lifted.",
    "which-item": "Several items of the step are open. Name one by its id.",
    "wrong-role": "The program gives this to other roles. An actor acts in a role they hold.",
    "wrong-site": "The actor holds the role at other sites than that of the enrollment.",
    "wrong-type": "A value is of another type than its field.",
    "wrong-unit": "A quantity came in another unit than its field's.",
}

DEVIATIONS: dict[str, str] = {
    "after-discharge": "Something was recorded after the treatment had ended, such as a result "
    "that came late.",
    "admitted-otherwise": "A patient was reported to have been admitted on a date in the past.",
    "arrival-not-planned": "A patient came for a session, and no step was open for it, or the "
    "treatment had ended. No session is opened by it; where a step opens later, the arrival is "
    "reported again.",
    "dose-not-planned": "Something was given although no step was open for it, or the treatment "
    "had ended. In treatment it is a session, watched and released like any other.",
    "dose-on-hold": "Something was given although a hold stood.",
    "dose-while-ended": "Something was given after the dose of the session had been ended.",
    "dose-while-paused": "Something was given although dosing was paused.",
    "dose-without-start": "Something was given before the session was started, past its gates.",
    "early": "A step was recorded before it opened.",
    "not-indicated": "A medicine was given although its `only_if` did not hold, or was unknown.",
    "ledger-imbalance": "A session, or the treatment, ended while what was drawn of a controlled "
    "drug was not accounted for, or more was given than was drawn. It stays open in the site's "
    "cupboard until it is wasted or returned.",
    "lot-expired": "A lot was used after its date.",
    "lot-undescribed": "A scheduled drug was drawn from a lot whose form and strength the cupboard "
    "does not know, so that its record lacks them. Receive lots with them.",
    "lot-unknown": "A controlled drug was drawn from a lot that the site's cupboard does not keep.",
    "moved-past-gates": "A patient was reported to be in a phase that the program's gates had not "
    "opened.",
    "no-manner": "Some of a scheduled drug was wasted, and it is not said how it was disposed of: "
    "say `manner`.",
    "no-order": "Something was given without an order in force.",
    "over-cap": "More was given than one session may give, or than a cap over hours, days or the "
    "course allows.",
    "over-order": "More was given than was ordered.",
    "monitored-elsewhere": "Something was given while a session of the patient in another "
    "enrollment was under way or watched.",
    "one-sedating-a-day": "Two sedating sessions of the patient took place on one date.",
    "patient-merged": "Two ids turned out to be one patient, who is in treatment under both. Look "
    "at what they mean together, and end one course if need be.",
    "patient-parted": "Two ids that had been merged are two patients after all. Look at what was "
    "done, or taken over from the other, while they were one.",
    "program-loops": "The program's gates would have gone in a circle; the move was not made.",
    "version-flagged": "The version of the program that the patient goes by has a fault. Somebody "
    "must look what it means for them, and whether they go on by another version.",
    "without-group": "A step that is done in a group was done without a seat in one.",
    "rate-outside": "The rate was outside the program's limits.",
    "readings-not-told": "A session was told after the event, and some of the readings that its "
    "watch plans for that time were not told with it. They are counted once, not missed one by "
    "one.",
    "second-session": "Something was given in a session while another one was under way. Both are "
    "watched and released.",
    "unanswered-call": "Nobody answered a call in time, and the program names nobody else to be "
    "called. The call stays open; somebody must look.",
    "stock-short": "More of a lot was used than should have been there.",
    "too-soon": "A medicine was given again before the least time had passed.",
    "unchecked": "Something was given that no second person had checked.",
}
