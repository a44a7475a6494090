use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::testing::assert_says;
use crate::{Alpha, Colours, Depth, PictureFormat};

fn parse(text: &str) -> Result<DataSpec, DataError> {
    text.parse()
}

#[test]
fn records_take_their_files_in_any_order() {
    let expected = RecordsSpec {
        train: "a=b:c.bin".into(),
        valid: Some("v=1.bin".into()),
        test: Some("t.bin".into()),
        classes: Some("c.txt".into()),
        captions: Some("short name".into()),
        side: 64,
    };
    let text = "records:a=b:c.bin,side=64,classes=c.txt,captions=short name,\
                test=t.bin,valid=v=1.bin";
    assert_eq!(parse(text).unwrap(), DataSpec::Records(expected));
}

#[test]
fn cifar10_keeps_the_path_whole() {
    let path = "/data/with,comma:and colon".into();
    let spec = parse("cifar10:/data/with,comma:and colon").unwrap();
    assert_eq!(spec, DataSpec::Cifar10 { path });
}

#[test]
fn an_unknown_spec_lists_the_known_forms() {
    for text in [
        "",
        "cifar",
        "photos32:x",
        "emoji32:x",
        "Photos32",
        "train.bin",
    ] {
        let error = parse(text).unwrap_err();
        assert_says(
            &error,
            &["photos32", "cifar10:PATH", "records:TRAIN[,valid=FILE]"],
        );
        let long = |line: &&str| line.len() > 80;
        assert_eq!(error.to_string().lines().find(long), None);
        assert!(matches!(error, DataError::UnknownSpec { spec } if spec == text));
    }
}

#[test]
fn cifar10_without_a_path_says_how_to_give_one() {
    assert_says(&parse("cifar10:").unwrap_err(), &["cifar10:PATH"]);
}

#[test]
fn short_names_are_data_sets_of_the_hub() {
    for (short, long) in [
        ("cifar10", "hf:uoft-cs/cifar10,image=img,label=label"),
        ("cifar100", "hf:uoft-cs/cifar100,image=img,label=fine_label"),
        ("mnist", "hf:ylecun/mnist,image=image,label=label"),
        (
            "fashion-mnist",
            "hf:zalando-datasets/fashion_mnist,image=image,label=label",
        ),
    ] {
        let spec = parse(short).unwrap();
        assert_eq!(spec.to_string(), long);
        assert_eq!(parse(long).unwrap(), spec);
    }
    for (text, part) in [
        ("hf", "hf:OWNER/NAME"),
        ("hf:", "hf:OWNER/NAME"),
        ("hf:name", "hf:OWNER/NAME"),
        ("hf:a/b,side=3", "\"side=3\" is none of config=NAME"),
        ("hf:a/b,split=", "\"split=\" has no value"),
    ] {
        assert_says(&parse(text).unwrap_err(), &[part]);
    }
}

#[test]
fn mistakes_in_records_are_named() {
    for (text, part) in [
        ("records", "records:TRAIN"),
        ("records:", "records:TRAIN"),
        ("records:,test=b", "records:TRAIN"),
        ("records:a,b", "\"b\" is none of"),
        ("records:a,validation=b", "\"validation=b\" is none of"),
        ("records:a,", "\"\" is none of"),
        ("records:a,test=", "\"test=\" has no value"),
        ("records:a,test=b,test=c", "\"test=c\" sets an option twice"),
        (
            "records:a,side=32,side=32",
            "\"side=32\" sets an option twice",
        ),
        ("records:a,side=0", "side=0 is not"),
        ("records:a,side=big", "side=big is not"),
        (
            "records:a,side=18446744073709551615",
            "side=18446744073709551615 is not",
        ),
    ] {
        assert_says(&parse(text).unwrap_err(), &[text, part]);
    }
}

#[test]
fn mistakes_in_mnist_are_named() {
    for (text, part) in [
        ("mnist:", "mnist:DIR"),
        ("mnist:a,b", "\"b\" is none of split=class and classes=FILE"),
        (
            "mnist:a,split=image",
            "split=class expected, found split=image",
        ),
        (
            "mnist:a,split=class,split=class",
            "\"split=class\" sets an option twice",
        ),
    ] {
        assert_says(&parse(text).unwrap_err(), &[text, part]);
    }
}

#[test]
fn mistakes_in_folders_are_named() {
    for (text, part) in [
        ("folder", "folder:DIR"),
        (
            "folder:a,b",
            "none of side=N, split=class, on_error=skip, enlarge, depth=16",
        ),
        (
            "folder:a,on_error=ignore",
            "on_error=skip expected, found on_error=ignore",
        ),
        ("folder:a,depth=8", "depth=16 expected, found depth=8"),
        (
            "folder:a,channels=3",
            "channels=1 expected, found channels=3",
        ),
        ("folder:a,enlarge=yes", "\"enlarge=yes\" is none of"),
        (
            "folder:a,enlarge,enlarge",
            "\"enlarge\" sets an option twice",
        ),
        ("folder:a,on_error=", "\"on_error=\" has no value"),
        ("folder:a,side=0", "side=0 is not"),
        ("folder:a,split=", "\"split=\" has no value"),
        ("imagenet32", "imagenet32:DIR"),
        ("imagenet64:", "imagenet64:DIR"),
    ] {
        assert_says(&parse(text).unwrap_err(), &[text, part]);
    }
}

#[test]
fn a_folder_is_its_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let spec = parse(&format!("{path},side=16,enlarge")).unwrap();
    assert_eq!(spec.to_string(), format!("folder:{path},side=16,enlarge"));
    assert_eq!(parse(&spec.to_string()).unwrap(), spec);
    assert!(matches!(parse("."), Ok(DataSpec::Folder(_))));
    assert!(matches!(parse("./"), Ok(DataSpec::Folder(_))));
    for (text, part) in [
        (format!("{path}/none"), "there is no such folder"),
        (format!("{path},size=3"), "\"size=3\" is none of"),
        ("no/such,side=3".into(), "there is no such folder"),
    ] {
        assert_says(&parse(&text).unwrap_err(), &[&text, part]);
    }
}

#[test]
fn a_path_without_pictures_gets_a_hint() {
    for (file, parts) in [
        ("a.bin", ["it is a file", "records:"]),
        ("a.bin.gz", ["it is a file", "records:"]),
        ("val_data.npz", ["it is a file", "imagenet32:"]),
        ("train-images-idx3-ubyte.gz", ["it is a file", "mnist:"]),
        ("cifar-10-binary.tar.gz", ["it is a file", "cifar10:"]),
        ("a.zip", ["it is a file", "unpack"]),
        ("a.npy", ["it is a file", "tokens:"]),
        ("a.png", ["it is a file", "folder:"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = crate::testing::write(folder.path(), file, "");
        assert_says(&parse(path.to_str().unwrap()).unwrap_err(), &parts);
    }
    for (file, part) in [
        ("data_batch_1.bin", "cifar10:"),
        ("train-images-idx3-ubyte", "mnist:"),
        ("train_data_batch_1.npz", "imagenet32:"),
        ("valid_64x64", "imagenet64:"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        crate::testing::write(folder.path(), file, "");
        let error = parse(folder.path().to_str().unwrap()).unwrap_err();
        assert_says(&error, &["another data set", part]);
    }
}

fn path() -> impl Strategy<Value = PathBuf> {
    "[^,]{1,12}".prop_map(PathBuf::from)
}

fn split() -> impl Strategy<Value = SplitBy> {
    prop_oneof![Just(SplitBy::Image), Just(SplitBy::Class)]
}

fn on_error() -> impl Strategy<Value = OnError> {
    prop_oneof![Just(OnError::Refuse), Just(OnError::Skip)]
}

fn small() -> impl Strategy<Value = SmallPictures> {
    prop_oneof![Just(SmallPictures::Refused), Just(SmallPictures::Enlarged)]
}

fn format() -> impl Strategy<Value = PictureFormat> {
    let depth = prop_oneof![Just(Depth::Eight), Just(Depth::Sixteen)];
    let colours = prop_oneof![Just(Colours::Rgb), Just(Colours::Grey)];
    let alpha = prop_oneof![Just(Alpha::OnWhite), Just(Alpha::Refused)];
    (depth, colours, alpha).prop_map(|(depth, colours, alpha)| PictureFormat {
        depth,
        colours,
        alpha,
    })
}

fn hub() -> impl Strategy<Value = HubSpec> {
    let option = || option::of("[^,]{1,6}");
    let options = (option(), option(), option(), option());
    ("[a-z]{1,4}/[a-z@]{1,6}", options).prop_map(|(repository, options)| {
        let (config, split, image, label) = options;
        HubSpec {
            repository,
            config,
            split,
            image,
            label,
        }
    })
}

fn spec() -> impl Strategy<Value = DataSpec> {
    let file = || option::of(path());
    let captions = option::of("[^,]{1,12}");
    let records = (path(), file(), file(), file(), captions, 1_usize..5000);
    prop_oneof![
        Just(DataSpec::Photos32),
        prop_oneof![Just(EmojiLabels::Category), Just(EmojiLabels::Identity)]
            .prop_map(|labels| DataSpec::Emoji32 { labels }),
        ".{1,20}".prop_map(|path| DataSpec::Cifar10 { path: path.into() }),
        (path(), split(), file()).prop_map(|(path, split, classes)| DataSpec::Mnist {
            path,
            split,
            classes,
        }),
        (
            path(),
            1_usize..5000,
            split(),
            on_error(),
            small(),
            format()
        )
            .prop_map(|(path, side, split, on_error, small, format)| {
                DataSpec::Folder(FolderSpec {
                    path,
                    side,
                    split,
                    on_error,
                    small,
                    format,
                })
            }),
        (path(), file(), file(), option::of(2_usize..=65_536)).prop_map(
            |(train, valid, test, levels)| {
                DataSpec::Tokens(TokensSpec {
                    train,
                    valid,
                    test,
                    levels,
                })
            }
        ),
        ".{1,20}".prop_map(|path| DataSpec::ImageNet32 { path: path.into() }),
        ".{1,20}".prop_map(|path| DataSpec::ImageNet64 { path: path.into() }),
        hub().prop_map(DataSpec::Hub),
        records.prop_map(|(train, valid, test, classes, captions, side)| {
            DataSpec::Records(RecordsSpec {
                train,
                valid,
                test,
                classes,
                captions,
                side,
            })
        }),
    ]
}

proptest! {
    #[test]
    fn text_round_trips(spec in spec()) {
        prop_assert_eq!(parse(&spec.to_string()).unwrap(), spec);
    }

    #[test]
    fn any_text_parses_or_says_why(
        text in "(photos32|emoji32|cifar10|mnist|records|folder|imagenet32|imagenet64|hf|cifar100)?:?(a/b|identities|[a-c])?\
                 (,?(valid|test|classes|captions|side|split|on_error|enlarge)?=?(class|skip|.{0,3})){0,4}"
    ) {
        match parse(&text) {
            Ok(spec) => prop_assert_eq!(parse(&spec.to_string()).unwrap(), spec),
            Err(error) => assert_says(&error, &[&format!("{text:?}")]),
        }
    }
}
