//! MessageService and AnnouncementService.
mod announcements;
mod messages;
