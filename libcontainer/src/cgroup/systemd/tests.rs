use super::dbus::fake::{Answer, Fake, SERVICE};
use super::dbus::{Message, Value};
use super::*;

const OBJECT: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const JOB: &str = "/org/freedesktop/systemd1/job/5";

fn job_removed(job: &str, sender: &'static str, result: &str) -> Answer {
    let body = vec![
        Value::Uint32(5),
        Value::ObjectPath(job.into()),
        Value::string("u.scope"),
        Value::string(result),
    ];
    Answer::Signal(OBJECT, MANAGER, "JobRemoved", sender, body)
}

fn job() -> Answer {
    Answer::Return(vec![Value::ObjectPath(JOB.into())])
}

const EXISTS: Answer =
    Answer::Error("org.freedesktop.systemd1.UnitExists", "Unit u.scope was already loaded");
const NONE: Answer = Answer::Error("org.freedesktop.systemd1.NoSuchUnit", "Unit u.scope not loaded.");

/// What comes of starting a unit, and which methods were called for it.
fn start(
    mut answers: impl FnMut(&str, usize) -> Vec<Answer> + Send + 'static,
) -> (std::result::Result<(), String>, Vec<String>) {
    let mut count = 0;
    let (connection, fake) = Fake::connect(move |call: &Message| {
        count += 1;
        answers(call.member.as_deref().unwrap(), count)
    });
    let mut manager = Manager::over(connection, Bus::System);
    let properties = [Property::new("Delegate", Value::Bool(true))];
    let started = manager.start("u.scope", &properties).map_err(|e| e.to_string());
    drop(manager);
    let methods = fake.calls().into_iter().filter_map(|call| call.member).collect();
    (started, methods)
}

#[test]
fn a_unit_is_started_when_its_own_job_is_done() {
    let (started, methods) = start(|_, _| {
        vec![
            job(),
            job_removed("/org/freedesktop/systemd1/job/4", SERVICE, "failed"),
            // Somebody else on the bus, who would have the container run without limits.
            job_removed(JOB, ":1.666", "failed"),
            job_removed(JOB, SERVICE, "done"),
        ]
    });
    assert_eq!(started, Ok(()));
    assert_eq!(methods, ["Hello", "AddMatch", "StartTransientUnit"]);
}

#[test]
fn a_failed_job_leaves_no_unit() {
    let (started, methods) = start(|method, _| match method {
        "StartTransientUnit" => vec![job(), job_removed(JOB, SERVICE, "failed")],
        "StopUnit" => vec![job(), job_removed(JOB, SERVICE, "done")],
        _ => vec![Answer::Return(vec![])],
    });
    let text = started.unwrap_err();
    assert!(text.starts_with("cannot start unit u.scope: the job failed; "), "{text}");
    assert!(text.ends_with("(\"failed\")"), "{text}");
    assert_eq!(
        methods,
        ["Hello", "AddMatch", "StartTransientUnit", "AddMatch", "StopUnit", "ResetFailedUnit"]
    );
}

#[test]
fn the_record_of_a_failed_unit_is_removed_once() {
    let (started, methods) = start(|method, count| match (method, count) {
        ("StartTransientUnit", 1) => vec![EXISTS],
        ("StartTransientUnit", _) => vec![job(), job_removed(JOB, SERVICE, "done")],
        _ => vec![Answer::Return(vec![])],
    });
    assert_eq!(started, Ok(()));
    assert_eq!(methods[2..], ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"]);
    // A unit that runs is not touched.
    let (started, methods) = start(|method, _| match method {
        "StartTransientUnit" => vec![EXISTS],
        _ => vec![Answer::Return(vec![])],
    });
    assert_eq!(started.unwrap_err(), "cannot start unit u.scope: Unit u.scope was already loaded");
    assert_eq!(methods[2..], ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"]);
}

#[test]
fn what_systemd_refuses_is_said_in_its_words() {
    let (started, methods) = start(|_, _| {
        vec![Answer::Error(
            "org.freedesktop.DBus.Error.PropertyReadOnly",
            "Cannot set property Foo, or unknown property.",
        )]
    });
    assert_eq!(
        started.unwrap_err(),
        "cannot start unit u.scope: Cannot set property Foo, or unknown property."
    );
    assert_eq!(methods.len(), 3);
}

#[test]
fn the_arguments_of_the_calls() {
    let (connection, fake) = Fake::connect(|call| match call.member.as_deref() {
        Some("Get") => vec![Answer::Return(vec![Value::variant(Value::string("v257.9-1~deb13u1"))])],
        Some("StartTransientUnit") => vec![job(), job_removed(JOB, SERVICE, "done")],
        Some("StopUnit") => vec![NONE],
        _ => vec![Answer::Return(vec![])],
    });
    let mut manager = Manager::over(connection, Bus::User);
    let properties = [Property::new("TasksMax", Value::Uint64(5))];
    assert_eq!(manager.version().unwrap(), 257);
    manager.start("u.scope", &properties).unwrap();
    manager.set_properties("u.scope", &properties).unwrap();
    manager.set_properties("u.scope", &[]).unwrap();
    manager.attach("u.scope", "/a", 77).unwrap();
    manager.stop("u.scope").unwrap();
    drop(manager);
    let shown: Vec<String> =
        fake.calls().iter().map(|c| format!("{} {:?}", c.member.as_deref().unwrap(), c.body)).collect();
    assert_eq!(
        shown[1..],
        [
            format!("Get [\"{MANAGER}\", \"Version\"]"),
            format!("AddMatch [\"type='signal',path='{OBJECT}',interface='{MANAGER}',member='JobRemoved'\"]"),
            "StartTransientUnit [\"u.scope\", \"replace\", [(\"TasksMax\", 5)], []]".into(),
            "SetUnitProperties [\"u.scope\", true, [(\"TasksMax\", 5)]]".into(),
            "AttachProcessesToUnit [\"u.scope\", \"/a\", [77]]".into(),
            format!("AddMatch [\"type='signal',path='{OBJECT}',interface='{MANAGER}',member='JobRemoved'\"]"),
            "StopUnit [\"u.scope\", \"replace\"]".into(),
            "ResetFailedUnit [\"u.scope\"]".into(),
        ]
    );
}

#[test]
fn versions() {
    for (text, version) in [
        ("255", Some(255)),
        ("v245.4-1.fc32", Some(245)),
        ("252.38-1~deb12u1", Some(252)),
        ("x", None),
        ("", None),
    ] {
        let (connection, _fake) =
            Fake::connect(move |_| vec![Answer::Return(vec![Value::variant(Value::string(text))])]);
        assert_eq!(Manager::over(connection, Bus::System).version().ok(), version, "{text}");
    }
}

#[test]
fn old_state_files_have_no_unit() {
    let saved: crate::cgroup::Saved = serde_json::from_str(r#"{"unified":true,"dirs":[]}"#).unwrap();
    assert_eq!(saved.unit, None);
    let unit = Unit { name: "u.scope".into(), bus: Bus::User };
    let text = serde_json::to_string(&unit).unwrap();
    assert_eq!(text, r#"{"name":"u.scope","bus":"user"}"#);
    assert_eq!(serde_json::from_str::<Unit>(&text).unwrap(), unit);
}
