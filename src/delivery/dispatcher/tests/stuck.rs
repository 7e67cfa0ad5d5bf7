//! When a destination that takes nothing is shown, and until when.

use super::*;
use crate::delivery::stuck::STUCK_AFTER;

#[test]
fn a_destination_that_answers_nothing_for_long_is_shown_until_it_does() {
    let (batch, _acks, account) = batch_of(Framing::Bulk, &[3]);
    let mut run = Run::new(true);
    run.dispatcher.offer(batch);
    let Step::Send(sent) = run.dispatcher.step(run.now) else { panic!("nothing is sent") };
    let Step::Wait(Some(at)) = run.dispatcher.step(run.now) else { panic!("nobody looks again") };
    assert_eq!(at, run.now.after(STUCK_AFTER));
    let almost = run.now.after(STUCK_AFTER - Duration::from_millis(1));
    assert_eq!(run.dispatcher.stuck(almost), None);
    let (stuck, events) = run.dispatcher.stuck(at).expect("not shown");
    assert_eq!((stuck.since, stuck.reason, events), (run.now, RetryReason::Timeout, 3));
    // It goes on when the request is given up: no other half minute of quiet begins.
    let error = "no answer within 60s".to_owned();
    let timeout = Trouble::Retry { reason: RetryReason::Timeout, retry_after: None, error };
    let given_up = run.now.after(Duration::from_secs(60));
    run.dispatcher.answered(given_up, sent, Answer::Whole(timeout), Duration::from_secs(60));
    let (stuck, events) = run.dispatcher.stuck(given_up).expect("not shown");
    assert_eq!((stuck.since, stuck.error.as_str(), events), (run.now, "no answer within 60s", 3));
    run.now = given_up;
    run.run(20, all_created);
    assert_eq!(run.dispatcher.stuck(run.now.after(STUCK_AFTER)), None);
    ended(&account);
}

#[test]
fn what_an_engine_says_of_items_that_it_does_not_take_is_shown() {
    let (batch, _acks, _account) = batch_of(Framing::Bulk, &[3]);
    let mut run = Run::new(true);
    run.dispatcher.offer(batch);
    for _ in 0..100 {
        run.turn(&mut |batch| each(batch, |_, _| again(RetryReason::Busy)));
    }
    let (stuck, _) = run.dispatcher.stuck(run.now.after(STUCK_AFTER)).expect("not shown");
    assert_eq!((stuck.reason, stuck.error.as_str()), (RetryReason::Busy, "not now"));
}

#[test]
fn a_destination_that_takes_nothing_for_long_is_shown_until_it_does() {
    let (batch, _acks, account) = batch_of(Framing::Bulk, &[3]);
    let mut run = Run::new(true);
    run.dispatcher.offer(batch);
    let mut shown_at = None;
    for _ in 0..100 {
        run.turn(&mut |_| {
            let error = "503 no server".to_owned();
            Answer::Whole(Trouble::Retry {
                reason: RetryReason::ServerError,
                retry_after: None,
                error,
            })
        });
        if let Some((stuck, events)) = run.dispatcher.stuck(run.now) {
            assert_eq!(
                (stuck.reason, stuck.error.as_str()),
                (RetryReason::ServerError, "503 no server")
            );
            assert_eq!((stuck.since, events), (Moment::default(), 3));
            shown_at = Some(run.now);
            break;
        }
    }
    let shown_at = shown_at.expect("never shown");
    assert!((STUCK_AFTER..STUCK_AFTER * 3).contains(&shown_at.0), "{shown_at:?}");
    run.run(20, all_created);
    assert_eq!(run.dispatcher.stuck(run.now.after(STUCK_AFTER)), None);
    ended(&account);
}
